import type { Comparison } from './comparison.ts'
import { median } from './table.ts'

const WIDTH = 800
const LABEL = 190
const BAR = 14
const GAP = 3
const GROUP = 34

/**
 * Draws bars of server CPU as multiples of the plain server's, by workload, as an SVG for light and dark mode. The
 * first contestant is highlighted.
 */
export function chart (comparisons: readonly Comparison[], plain: string): string {
  const groups = comparisons.map(comparison => ({
    title: `${comparison.workload.name}: ${comparison.workload.what}`,
    bars: comparison.contestants.map((contestant, index) => ({
      name: contestant.name,
      ratio: median(comparison.ratios(contestant)),
      kind: contestant.name === plain ? 'plain' : index === 0 ? 'ours' : 'peer'
    }))
  }))
  const greatest = Math.max(...groups.flatMap(({ bars }) => bars.map(({ ratio }) => ratio)))
  const scale = (WIDTH - LABEL - 50) / greatest
  const parts: string[] = []
  let y = 34
  for (const { title, bars } of groups) {
    parts.push(`<text class="title" x="10" y="${y + 12}">${escaped(title)}</text>`)
    y += 22
    const top = y
    for (const { name, ratio, kind } of bars) {
      const width = (ratio * scale).toFixed(1)
      parts.push(`<text x="${LABEL - 8}" y="${y + 11}" text-anchor="end">${escaped(name)}</text>`)
      parts.push(`<rect class="${kind}" x="${LABEL}" y="${y}" width="${width}" height="${BAR}" rx="2"/>`)
      parts.push(`<text x="${LABEL + Number(width) + 6}" y="${y + 11}">${ratio.toFixed(2)}</text>`)
      y += BAR + GAP
    }
    const one = (LABEL + scale).toFixed(1)
    parts.push(`<path d="M${one} ${top - 2}V${y}"/>`)
    y += GROUP - 22
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y}" viewBox="0 0 ${WIDTH} ${y}" role="img" aria-label="Server CPU beside ${plain}">
<style>
svg { background: #fff; font: 12px system-ui, sans-serif }
text { fill: #333 } .title { font-weight: 600 } .ours { fill: #1f6feb } .plain { fill: #8c959f } .peer { fill: #d0d7de } path { stroke: #8c959f; stroke-dasharray: 3 3 }
@media (prefers-color-scheme: dark) { svg { background: #0d1117 } text { fill: #c9d1d9 } .ours { fill: #58a6ff } .plain { fill: #6e7681 } .peer { fill: #30363d } }
</style>
<text class="title" x="10" y="20">Server CPU, plain node:http = 1.00 (shorter is better)</text>
${parts.join('\n')}
</svg>
`
}

const escaped = (text: string): string => text.replaceAll('`', '').replaceAll('&', '&amp;').replaceAll('<', '&lt;')
