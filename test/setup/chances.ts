/** A pseudorandom generator with a fixed sequence per seed (mulberry32). Returns integers from 0 to below the bound. */
export function chances (seed: number): (below: number) => number {
  return below => {
    seed = (seed + 0x6D2B79F5) | 0
    let n = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    n = (n + Math.imul(n ^ (n >>> 7), 61 | n)) ^ n
    return ((n ^ (n >>> 14)) >>> 0) % below
  }
}
