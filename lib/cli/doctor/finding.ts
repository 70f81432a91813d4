/** How bad it is: a note is for those who want to know. */
export type Mark = 'ok' | 'note' | 'warning' | 'problem'

/** Something that was seen, in plain words, and what to set. */
export interface Finding { readonly mark: Exclude<Mark, 'ok'>, readonly text: string, readonly setting?: string }

/** What one of the questions came to. */
export interface Probe { readonly name: string, readonly mark: Mark, readonly summary: string, readonly findings: readonly Finding[] }

const ORDER: readonly Mark[] = ['ok', 'note', 'warning', 'problem']

/** Its mark is that of the worst that was found. */
export function probeOf (name: string, summary: string, findings: readonly Finding[]): Probe {
  const worst = Math.max(0, ...findings.map(({ mark }) => ORDER.indexOf(mark)))
  return { name, mark: ORDER[worst]!, summary, findings }
}

export const note = (text: string, setting?: string): Finding => findingOf('note', text, setting)
export const warning = (text: string, setting?: string): Finding => findingOf('warning', text, setting)
export const problem = (text: string, setting?: string): Finding => findingOf('problem', text, setting)

const findingOf = (mark: Finding['mark'], text: string, setting: string | undefined): Finding => ({ mark, text, ...setting === undefined ? {} : { setting } })

/** A time for people. */
export function timeText (milliseconds: number): string {
  return milliseconds < 1_000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1_000).toFixed(1)} s`
}

/** `1 event`, `2 events`. */
export const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`
