import { fileURLToPath } from 'node:url'
import { table } from './table.ts'

/** A function as sampled by V8: its file, line and name, and the microseconds of its self time. */
export type Sampled = [url: string, line: number, name: string, time: number]

type Times = Record<string, number>

/** Microseconds for each unit of a workload. */
export interface SelfTimes {
  /** CPU as counted by the operating system. */
  process: Times
  groups: Times
  functions: Times
}

// How many functions are printed.
const MOST = 25
const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const GROUPS: ReadonlyArray<[group: string, files: RegExp]> = [
  ['fastify-typed-sse', /^dist\//],
  ['handler and source of the benchmark', /^test\//],
  ['packages: Fastify and others', /^node_modules\//],
  ['Node.js: HTTP', /^node:(_http|https?|internal\/http)/],
  ['Node.js: events and signals', /^node:(events|internal\/(abort_controller|event_target|events))/],
  ['Node.js: sockets and streams', /^node:(_?tls|net|stream|internal\/(net|stream|tls))/],
  ['Node.js: other', /^node:/],
  ['garbage collection', /^\(garbage collector\)$/],
  // V8 counts a call of the system as its native caller, or as "(program)".
  ['native code of Node.js and V8, with the kernel', /^/]
]

/** Adds up samples by group and by function. */
export function selfTimes (sampled: readonly Sampled[], units: number): Omit<SelfTimes, 'process'> {
  const [groups, functions]: [Times, Times] = [{}, {}]
  for (const [url, line, name, time] of sampled) {
    if (name === '(idle)') continue
    const file = url.replace('file://', '').replace(ROOT, '')
    const [group] = GROUPS.find(([, files]) => files.test(file === '' ? name : file))!
    // Another version has the function on another line.
    const place = file === '' ? name : name === '' ? `${file}:${line}` : `${name}, ${file}`
    groups[group] = (groups[group] ?? 0) + time / units
    functions[place] = (functions[place] ?? 0) + time / units
  }
  return { groups, functions }
}

/** Tables of self times, beside those of an earlier run. */
export function tables (unit: string, now: SelfTimes, before?: SelfTimes): string {
  return (['process', 'groups', 'functions'] as const).map(key => {
    const [times, earlier] = [now[key], before?.[key] ?? {}]
    const most = (name: string): number => Math.max(times[name] ?? 0, earlier[name] ?? 0)
    const total = Object.values(times).reduce((total, time) => total + time, 0)
    const rows = Object.keys({ ...earlier, ...times }).sort((a, b) => most(b) - most(a)).slice(0, MOST).map(name => [
      key === 'functions' ? `\`${name}\`` : name,
      ...before === undefined ? [] : [(earlier[name] ?? 0).toFixed(2)],
      (times[name] ?? 0).toFixed(2),
      `${((times[name] ?? 0) / total * 100).toFixed(1)} %`
    ])
    const what = { process: 'CPU, operating system', groups: 'self time by group', functions: 'self time by function' }
    return table([what[key], ...before === undefined ? [] : ['before, µs'], `µs per ${unit}`, 'share'], rows)
  }).join('\n\n')
}
