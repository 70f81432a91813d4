import { printable, type Paint } from '../terminal.ts'
import type { Mark, Probe } from './finding.ts'

const COLOURS = { ok: 'green', note: 'cyan', warning: 'yellow', problem: 'red' } as const
const SIGNS: Readonly<Record<Mark, string>> = { ok: 'ok', note: 'note', warning: 'warning', problem: 'PROBLEM' }
const SIGN = Math.max(...Object.values(SIGNS).map(sign => sign.length))
const INDENT = ' '.repeat(SIGN + 2)
// Columns.
const WIDTH = 100

/** Formats the probes: a line for each, then the findings, the worst first. */
export function report (probes: readonly Probe[], paint: Paint): string {
  const names = Math.max(...probes.map(({ name }) => name.length))
  const signed = (mark: Mark): string => paint(COLOURS[mark], SIGNS[mark].padEnd(SIGN))
  const summary = probes.map(({ name, mark, summary }) =>
    `${signed(mark)}  ${name.padEnd(names)}  ${printable(summary)}\n`
  )
  const sorted = (['problem', 'warning', 'note'] as const).flatMap(severity =>
    probes.flatMap(({ name, findings }) =>
      findings.filter(({ mark }) => mark === severity).map(finding => ({ name, ...finding }))
    )
  )
  const findings = sorted.map(({ name, mark, text, setting }) => {
    const set = setting === undefined
      ? ''
      : `${INDENT}${paint('bold', 'Set:')} ${wrapped(printable(setting), 'Set: '.length)}\n`
    return `\n${signed(mark)}  ${wrapped(`${name}: ${printable(text)}`)}\n${set}`
  })
  return summary.join('') + findings.join('')
}

/** Wraps a text to indented lines. The first line already has `taken` characters. */
function wrapped (text: string, taken = 0): string {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    const room = WIDTH - INDENT.length - (lines.length === 0 ? taken : 0)
    if (line !== '' && line.length + 1 + word.length > room) {
      lines.push(line)
      line = ''
    }
    line += line === '' ? word : ` ${word}`
  }
  return [...lines, line].join(`\n${INDENT}`)
}
