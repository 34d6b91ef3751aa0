"""The page that shows the live picture: dark, nothing to load from elsewhere."""

from __future__ import annotations

import html

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
  :root {{ color-scheme: dark; }}
  * {{ box-sizing: border-box; }}
  body {{ margin: 0; height: 100dvh; display: flex; flex-direction: column; overflow: hidden;
         background: #0c0d0f; color: #d7dade; font: 14px/1.5 system-ui, sans-serif; }}
  header {{ display: flex; align-items: center; gap: 1.25rem; padding: .65rem 1.1rem;
           border-bottom: 1px solid #1d2024; }}
  h1 {{ margin: 0; font-size: 15px; font-weight: 600; color: #f2f3f5; overflow: hidden;
       text-overflow: ellipsis; white-space: nowrap; }}
  .figures {{ margin-left: auto; display: flex; gap: 1.25rem; color: #9096a0;
             font-variant-numeric: tabular-nums; white-space: nowrap; }}
  .figures a {{ color: #9096a0; text-decoration: none; }}
  .figures a:hover, .figures a:focus-visible {{ color: #f2f3f5; text-decoration: underline; }}
  main {{ flex: 1; min-height: 0; padding: 1.1rem; }}
  img {{ width: 100%; height: 100%; object-fit: contain; display: block; }}
  .lost img {{ opacity: .35; }}
  #state {{ color: #e0a458; }}
  @media (max-width: 34rem) {{ #size {{ display: none; }} main {{ padding: 0; }} }}
</style>
</head>
<body>
<header>
  <h1>{title}</h1>
  <div class="figures">
    <span id="state" role="status"></span><span id="size"></span><span id="fps"></span>
    <a href="/snapshot.jpg" download="snapshot.jpg">snapshot</a>
  </div>
</header>
<main><img id="live" src="/live.mjpg" alt="live picture"></main>
<script>
const at = (id) => document.getElementById(id);
const live = at("live");
let lost = false;
async function look() {{
  try {{
    const answer = await fetch("/stats.json", {{ cache: "no-store" }});
    const figures = await answer.json();
    at("fps").textContent = figures.fps.toFixed(1) + " fps";
    at("size").textContent = figures.width + " \\u00d7 " + figures.height;
    if (lost) live.src = "/live.mjpg?" + Date.now();
    lost = false;
    at("state").textContent = figures.fps > 0 ? "" : "no pictures";
  }} catch (error) {{
    lost = true;
    at("state").textContent = "connection lost";
    at("fps").textContent = "";
  }}
  document.body.classList.toggle("lost", lost);
  setTimeout(look, 1000);
}}
look();
</script>
</body>
</html>
"""


def page(title: str) -> str:
    """The whole page as HTML."""
    return _PAGE.format(title=html.escape(title))
