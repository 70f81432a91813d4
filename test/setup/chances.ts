/** The same chances in each run (mulberry32): gives a whole number below the one that it is asked for. */
export function chances (seed: number): (below: number) => number {
  return below => {
    seed = (seed + 0x6D2B79F5) | 0
    let n = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    n = (n + Math.imul(n ^ (n >>> 7), 61 | n)) ^ n
    return ((n ^ (n >>> 14)) >>> 0) % below
  }
}
