/** A Markdown table. */
export function table (heads: readonly string[], rows: readonly (readonly string[])[]): string {
  return [heads, heads.map(() => '---'), ...rows].map(cells => `| ${cells.join(' | ')} |`).join('\n')
}

/** Shows a number with that many digits after the point. */
export const text = (value: number, digits: number): string =>
  value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })

export function median (values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2
}

/** The median of the rounds, with minimum and maximum: `0.39 (0.37–0.41)`. */
export function spread (values: readonly number[], digits = 0): string {
  return `${text(median(values), digits)} (${text(Math.min(...values), digits)}–${text(Math.max(...values), digits)})`
}

/** `4.21 → 4.25 MB`, with the difference. */
export function growth (before: number, after: number): string {
  const MB = 1_000_000
  const by = (after - before) / MB
  return `${text(before / MB, 2)} → ${text(after / MB, 2)} MB (${by < 0 ? '−' : '+'}${text(Math.abs(by), 2)})`
}
