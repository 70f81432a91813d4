export const style = String.raw`:root {
  color-scheme: light dark;
  --paper: light-dark(#f5f6f6, #0f1211);
  --panel: light-dark(#ffffff, #171b1a);
  --hover: light-dark(#f2f5f4, #1d2321);
  --ink: light-dark(#18201d, #e3e9e6);
  --quiet: light-dark(#5b6762, #93a09a);
  --line: light-dark(#dfe4e2, #29302d);
  --accent: light-dark(#0a6b58, #57c9b0);
  --tint: light-dark(#d5ebe5, #1b3d36);
  --warn: light-dark(#8a5200, #e8b05a);
  --bad: light-dark(#b02f24, #f28b7e);
  --on-bad: light-dark(#ffffff, #2a0d09);
  --mono: ui-monospace, 'SF Mono', 'Cascadia Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace;
  font: 14px/1.45 system-ui, sans-serif;
  background: var(--paper);
  color: var(--ink);
}

* { box-sizing: border-box; }
body, h1, h2, p, dl, dd, ol { margin: 0; padding: 0; }
ol { list-style: none; }
h1, h2 { font-size: 1rem; font-weight: 650; letter-spacing: -.005em; }
code, pre { font-family: var(--mono); font-size: .9em; }
[hidden] { display: none !important; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }

button, input { font: inherit; color: inherit; border: 1px solid var(--line); border-radius: 6px; background: var(--panel); }
button { padding: .25rem .7rem; cursor: pointer; }
button:hover { border-color: var(--quiet); }
.danger { background: var(--bad); border-color: var(--bad); color: var(--on-bad); }
input { padding: .35rem .6rem; min-width: 0; width: 100%; }
::placeholder { color: var(--quiet); opacity: 1; }

header { position: sticky; top: 0; z-index: 2; display: flex; flex-wrap: wrap; align-items: center; gap: .5rem 1rem; padding: .6rem 1.25rem; background: var(--panel); border-bottom: 1px solid var(--line); }
header search { flex: 0 1 24rem; margin-inline-start: auto; }
#state { display: flex; align-items: center; gap: .45rem; color: var(--quiet); }
#state::before { content: ''; flex: none; width: .55rem; height: .55rem; border-radius: 50%; background: var(--warn); }
#state[data-state='open']::before { background: var(--accent); }
#state[data-state='closed']::before { background: var(--bad); }

main { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 1rem; max-width: 90rem; margin: 0 auto; padding: 1rem 1.25rem 4rem; }
.wide, #figures, noscript { grid-column: 1 / -1; }
.panel, #figures > div { min-width: 0; background: var(--panel); border: 1px solid var(--line); border-radius: 10px; }
.title { display: flex; flex-wrap: wrap; align-items: baseline; gap: .1rem .75rem; padding: .7rem 1rem .5rem; }
.title p, .note { color: var(--quiet); font-size: .9rem; }
.title h2 { overflow-wrap: anywhere; }
.title button { margin: -.25rem 0 -.25rem auto; }
.note { padding: 0 1rem .8rem; text-wrap: pretty; }
.empty { padding: .75rem 1rem 1.25rem; color: var(--quiet); }
.scroll { height: 15rem; overflow: auto; overscroll-behavior: contain; border-top: 1px solid var(--line); border-radius: 0 0 10px 10px; }

/* The figures. */
#figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr)); gap: 1rem; }
#figures > div { overflow: hidden; display: grid; align-content: start; gap: .1rem; padding: .7rem 1rem .8rem; }
#figures dt { color: var(--quiet); font-size: .9rem; }
#figures b { display: block; font-size: 1.75rem; line-height: 1.2; font-weight: 600; letter-spacing: -.02em; font-variant-numeric: tabular-nums; white-space: nowrap; }
#figures span { color: var(--quiet); font-size: .85rem; font-variant-numeric: tabular-nums; }
#figures [data-warning] span { color: var(--warn); }
#figures svg { width: calc(100% + 2rem); height: 1.75rem; margin: .3rem -1rem -.8rem; }
#figures polyline { fill: none; stroke: var(--accent); stroke-width: 1.5px; vector-effect: non-scaling-stroke; opacity: .55; }

/* Tables. */
table { width: 100%; border-collapse: separate; border-spacing: 0; font-variant-numeric: tabular-nums; }
caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
th, td { padding: .3rem .6rem; text-align: start; white-space: nowrap; }
th:first-child, td:first-child { padding-inline-start: 1rem; }
th:last-child, td:last-child { padding-inline-end: 1rem; }
thead { position: sticky; top: 0; z-index: 1; }
th { padding-block: .45rem; color: var(--quiet); background: var(--panel); font-size: .85rem; font-weight: 500; border-bottom: 1px solid var(--line); }
#streams thead { top: 3.5rem; }
#streams th { border-top: 1px solid var(--line); }
td { border-bottom: 1px solid var(--line); }
#streams tr:last-child td { border-bottom: 0; }
tbody tr:hover { background: var(--hover); }
.number, .age { text-align: end; }
th.number { min-width: 5.5em; }
th.age { min-width: 6em; }
.route { width: 100%; max-width: 0; overflow: hidden; text-overflow: ellipsis; }
.route b { font: 500 .95em var(--mono); }
.route span { color: var(--quiet); font: .95em var(--mono); }
th.route span { font: inherit; }
.key, .ip { max-width: 11rem; overflow: hidden; text-overflow: ellipsis; font-family: var(--mono); font-size: .92em; }
th.key, th.ip { font-family: inherit; font-size: .85rem; }
.act { text-align: end; }
th.act span { position: absolute; clip-path: inset(50%); }
td.act button { padding: .05rem .6rem; }
td.act button:hover { color: var(--bad); border-color: var(--bad); }
.mark { font-size: .85rem; color: var(--quiet); }
.mark.stalled, .mark.lagging { padding: .1rem .45rem; border-radius: 4px; font-weight: 600; color: var(--warn); background: color-mix(in srgb, var(--warn) 14%, transparent); }
.mark.stalled { color: var(--bad); background: color-mix(in srgb, var(--bad) 14%, transparent); }
#channels .route button { max-width: 100%; padding: 0; border: 0; border-radius: 2px; background: none; font: 500 .95em var(--mono); overflow: hidden; text-overflow: ellipsis; text-align: start; color: var(--accent); }
#channels .route button:hover { text-decoration: underline; text-underline-offset: .2em; }
#channels [data-selected] { background: var(--tint); }

/* The tail: newest first. */
#tail li { display: grid; grid-template-columns: auto minmax(0, 1fr) auto; gap: .1rem .75rem; align-items: baseline; padding: .4rem 1rem; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
#tail b { font: 600 .9em var(--mono); max-width: 14rem; }
#tail li > code, #tail time { color: var(--quiet); font-size: .85rem; font-variant-numeric: tabular-nums; }
#tail pre { grid-column: 1 / -1; margin: 0; max-height: 12rem; overflow: auto; white-space: pre-wrap; }
#tail .note { padding: .25rem 1rem; }
#tail li > .note { grid-column: 1 / -1; padding: 0; }
#tail li.note { display: block; background: var(--hover); }

/* The histogram of delivery times. */
#latency { display: grid; grid-auto-flow: column; grid-auto-columns: minmax(0, 1fr); gap: 2px; padding: .25rem 1rem .6rem; }
#latency li { display: grid; grid-template-rows: 8.5rem auto; justify-items: center; gap: .3rem; font-size: .7rem; font-variant-numeric: tabular-nums; white-space: nowrap; color: var(--quiet); }
#latency i { align-self: end; width: 100%; height: max(2px, calc(var(--share, 0) * 100%)); border-radius: 3px 3px 0 0; background: var(--accent); }
#latency [data-none] i { background: var(--line); }
#latency b { position: absolute; clip-path: inset(50%); }

/* Closed streams by reason. */
#closed { display: grid; gap: .2rem; padding: 0 1rem .9rem; }
#closed div { display: grid; grid-template-columns: 8rem minmax(0, 1fr) minmax(3.5rem, auto); align-items: center; gap: .75rem; line-height: 1.35; }
#closed dd { order: 1; text-align: end; font-weight: 600; font-variant-numeric: tabular-nums; }
#closed [data-none] { color: var(--quiet); }
#closed [data-none] dd { font-weight: 400; }
#closed [data-warning] dd { color: var(--warn); }
#closed i { height: 5px; border-radius: 3px; background: linear-gradient(var(--accent) 0 0) 0 / calc(var(--share, 0) * 100%) no-repeat var(--line); }

/* The result of an action. */
#notice { position: fixed; inset: auto 1rem 1rem; z-index: 3; width: fit-content; max-width: min(40rem, calc(100% - 2rem)); margin: 0 auto; padding: .6rem 1rem; border-radius: 8px; background: var(--ink); color: var(--paper); overflow-wrap: anywhere; }
#notice:empty { padding: 0; }
#notice[data-success='false'] { background: var(--bad); color: var(--on-bad); }

dialog { width: min(30rem, calc(100% - 2rem)); padding: 0; border: 1px solid var(--line); border-radius: 12px; background: var(--panel); color: inherit; box-shadow: 0 1rem 3rem rgb(0 0 0 / .25); }
dialog::backdrop { background: rgb(0 0 0 / .4); }
dialog form { display: grid; gap: .9rem; padding: 1.25rem; }
dialog dl { display: grid; gap: .2rem; }
dialog dl div { display: grid; grid-template-columns: 5rem minmax(0, 1fr); }
dialog dt, dialog label { color: var(--quiet); }
dialog dd { font-family: var(--mono); font-size: .92em; overflow-wrap: anywhere; }
dialog label { display: grid; gap: .3rem; }
dialog input { color: var(--ink); background: var(--paper); }
dialog .note { padding: 0; }
.buttons { display: flex; justify-content: flex-end; gap: .6rem; }
.buttons button { padding: .4rem 1rem; }

/* On a narrow screen, each stream is a card. */
@media (max-width: 60rem) {
  main { grid-template-columns: minmax(0, 1fr); }
  #streams thead { position: absolute; clip-path: inset(50%); }
  #streams, #streams tbody { display: block; }
  #streams tr { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: .35rem .75rem; padding: .6rem 1rem .7rem; border-top: 1px solid var(--line); }
  #streams td { display: block; max-width: none; padding: 0; border: 0; text-align: start; overflow: hidden; text-overflow: ellipsis; }
  #streams td::before { content: attr(data-label); display: block; font: .75rem/1.3 system-ui, sans-serif; color: var(--quiet); }
  #streams td.route { order: -3; grid-column: 1 / 4; width: auto; white-space: normal; overflow-wrap: anywhere; }
  #streams td.act { order: -2; text-align: end; }
  #streams td.key { order: -1; grid-column: span 2; }
  #streams td.ip { order: -1; grid-column: span 2; }
  #streams td.route::before, #streams td.act::before { content: none; }
  td.act button { padding: .25rem .8rem; }
}

@media (max-width: 30rem) {
  header { padding: .6rem .75rem; }
  header search { flex: 1 0 100%; }
  main { gap: .75rem; padding: .75rem .75rem 4rem; }
  #figures { grid-template-columns: 1fr 1fr; gap: .75rem; }
  #figures > div { padding: .6rem .75rem .8rem; }
  #figures b { font-size: 1.4rem; }
  #channels-list { height: auto; max-height: 15rem; }
  #channels th.number { min-width: 0; }
  #channels .newest { display: none; }
  #channels th, #channels td { padding-inline: .4rem; }
  #channels th:first-child, #channels td:first-child { padding-inline-start: 1rem; }
  #channels th:last-child, #channels td:last-child { padding-inline-end: 1rem; }
  #latency li { font-size: .6rem; }
  #latency span { writing-mode: vertical-rl; rotate: 180deg; }
}

@media (prefers-reduced-motion: no-preference) {
  #latency i { transition: height .3s; }
}
`
