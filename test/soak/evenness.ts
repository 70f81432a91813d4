/**
 * The distance of moments from an even distribution over a time of that length, from any start: from 0 to 1
 * (Kolmogorov–Smirnov). It is centred on their median, so that one late moment does not stretch it.
 */
export function unevenness (moments: readonly number[], length: number): number {
  const sorted = [...moments].sort((a, b) => a - b)
  const first = sorted[Math.floor(sorted.length / 2)]! - length / 2
  return Math.max(...sorted.flatMap((moment, index) => {
    const even = Math.min(1, Math.max(0, (moment - first) / length))
    return [Math.abs((index + 1) / sorted.length - even), Math.abs(even - index / sorted.length)]
  }))
}

/** The number of moments in each of that many equal parts of the time between the first and the last. */
export function flow (moments: readonly number[], parts: number): number[] {
  const [first, last] = [Math.min(...moments), Math.max(...moments)]
  const counts = Array<number>(parts).fill(0)
  for (const moment of moments) counts[Math.min(parts - 1, Math.floor((moment - first) / (last - first) * parts))]!++
  return counts
}
