/** The severity of a finding. A note needs no action. */
export type Mark = 'ok' | 'note' | 'warning' | 'problem'

/** An observation, and the setting that changes it. */
export interface Finding { readonly mark: Exclude<Mark, 'ok'>, readonly text: string, readonly setting?: string }

/** The result of one check. */
export interface Probe {
  readonly name: string
  readonly mark: Mark
  readonly summary: string
  readonly findings: readonly Finding[]
}

const ORDER: readonly Mark[] = ['ok', 'note', 'warning', 'problem']

/** Returns a probe, whose mark is that of its worst finding. */
export function probeOf (name: string, summary: string, findings: readonly Finding[]): Probe {
  const worst = Math.max(0, ...findings.map(({ mark }) => ORDER.indexOf(mark)))
  return { name, mark: ORDER[worst]!, summary, findings }
}

export const note = (text: string, setting?: string): Finding => findingOf('note', text, setting)
export const warning = (text: string, setting?: string): Finding => findingOf('warning', text, setting)
export const problem = (text: string, setting?: string): Finding => findingOf('problem', text, setting)

const findingOf = (mark: Finding['mark'], text: string, setting: string | undefined): Finding => ({
  mark,
  text,
  ...setting === undefined ? {} : { setting }
})

/** Formats a time. */
export function timeText (milliseconds: number): string {
  return milliseconds < 1_000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1_000).toFixed(1)} s`
}

/** Formats a count: `1 event`, `2 events`. */
export const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`
