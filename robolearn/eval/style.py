"""Look of the report: one style sheet, light and dark, from phone to desktop. No file or font is loaded."""

CSS = """
:root {
  color-scheme: light dark;
  --page: #f6f7f8; --card: #ffffff; --ink: #1b1f24; --muted: #5d6671; --line: #dde1e6; --soft: #eceff2;
  --s1: #1f66d1; --s2: #c2560b; --s3: #15803d; --s4: #7a3fd0; --s5: #b01e5b; --s6: #0d7c86;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #111418; --card: #191d22; --ink: #e5e8ec; --muted: #98a2ae; --line: #2d343c; --soft: #232930;
    --s1: #6ea8ff; --s2: #f49a4f; --s3: #5fcf86; --s4: #b794f6; --s5: #f47fb0; --s6: #4fc7d1;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
}
main { max-width: 64rem; margin: 0 auto; padding: 2rem 1rem 4rem; }
header { margin-bottom: 1.5rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.01em; text-wrap: balance; }
h2 { font-size: 1.1rem; margin: 0 0 .8rem; }
h3 { font-size: .95rem; margin: 0 0 .3rem; }
p { margin: 0 0 .5rem; max-width: 46rem; }
header p, .note, figcaption { color: var(--muted); }
.note, figcaption { font-size: .875rem; line-height: 1.45; }
section {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1.1rem 1.2rem; margin: 0 0 1rem;
}
section > :last-child { margin-bottom: 0; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; margin-bottom: .6rem; }
th, td {
  text-align: left; vertical-align: middle; padding: .45rem .8rem .45rem 0; border-top: 1px solid var(--line);
}
thead th {
  border-top: 0; color: var(--muted); font-size: .8rem; font-weight: 500; padding-top: 0; white-space: nowrap;
}
tbody th { font-weight: 600; }
tbody th .note { display: block; font-weight: 400; }
th.n, td.n { text-align: right; white-space: nowrap; }
tr > :last-child { padding-right: 0; }
tr.total > * { border-top: 2px solid var(--line); font-weight: 600; }
td.plot { width: 34%; min-width: 7rem; }
.range { position: relative; height: 12px; border-radius: 6px; background: var(--soft); }
.range i { position: absolute; top: 4px; height: 4px; border-radius: 2px; background: var(--s1); opacity: .45; }
.range b {
  position: absolute; top: 0; width: 12px; height: 12px; margin-left: -6px; border-radius: 50%;
  background: var(--s1); border: 2px solid var(--card);
}
.bar { height: 10px; border-radius: 3px; background: var(--s1); opacity: .8; min-width: 1px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr)); gap: 1.5rem; }
figure { margin: 0; min-width: 0; }
figure + figure.strip { margin-top: 1.2rem; }
figure svg { display: block; width: 100%; max-width: 32rem; height: auto; overflow: visible; }
figure img { display: block; height: auto; border-radius: 6px; max-width: 100%; }
.strip .scroll img { max-width: none; width: max(100%, 44rem); }
figcaption { margin-top: .4rem; }
.legend {
  list-style: none; display: flex; flex-wrap: wrap; gap: .1rem 1rem; padding: 0; margin: 0 0 .3rem; font-size: .85rem;
}
.legend li::before {
  content: ""; display: inline-block; width: .9rem; height: 3px; border-radius: 2px; margin-right: .4rem;
  vertical-align: middle; background: var(--c);
}
dl {
  display: grid; grid-template-columns: minmax(4.5rem, max-content) 1fr; gap: .25rem 1.2rem; margin: 0;
  font-size: .9rem;
}
dt { color: var(--muted); }
dd { margin: 0; min-width: 0; overflow-wrap: anywhere; white-space: pre-line; }
pre {
  overflow-x: auto; background: var(--soft); border-radius: 6px; padding: .8rem 1rem; margin: .8rem 0 0;
  font: .8rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
summary { cursor: pointer; font-weight: 600; }
ul.findings { margin: 0; padding-left: 1.2rem; max-width: 46rem; }
@media (max-width: 34rem) {
  main { padding: 1.2rem .7rem 3rem; }
  section { padding: .9rem .9rem; }
  h1 { font-size: 1.4rem; }
  table { font-size: .9rem; }
  th, td { padding-right: .5rem; }
  table.success td.plot, table.success thead th:nth-child(2) { display: none; }
}
@media print { body { background: none; } section { break-inside: avoid; } }
"""
