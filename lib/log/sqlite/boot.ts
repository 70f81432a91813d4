import { readFileSync } from 'node:fs'
import { uptime } from 'node:os'

// Milliseconds. Both clocks are read at different times, and the clock of the machine is adjusted.
const TOLERANCE = 10_000

/** Returns a text that names the current boot of the machine. */
export function currentBoot (file = '/proc/sys/kernel/random/boot_id'): string {
  try {
    return readFileSync(file, 'latin1').trim()
  } catch {
    // Only Linux has the file. A machine is not booted twice within the tolerance.
    return `at ${Math.round(Date.now() - uptime() * 1_000)}`
  }
}

/** Whether two texts name one boot. */
export function isSameBoot (one: string, other: string): boolean {
  if (one === other) return true
  const [times, others] = [timeOf(one), timeOf(other)]
  return Math.abs(times - others) < TOLERANCE
}

const timeOf = (boot: string): number => boot.startsWith('at ') ? Number(boot.slice(3)) : NaN
