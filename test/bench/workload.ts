import type { Contestant } from './contestant.ts'

/** A load of which the CPU of the server is measured. */
export interface Load {
  /** Opens the connections of one round, which is not measured. */
  prepare?: (contestant: Contestant) => Promise<void>
  /** Runs it on one server. Resolves to the seconds it took, rejects if the response was wrong. */
  load: (contestant: Contestant) => Promise<number>
  /** Opens the connections that all rounds share. */
  open?: (contestants: readonly Contestant[]) => Promise<void>
  /** Closes them. Throws if they received too much. */
  close?: () => void
}

/** A load of which servers are compared in a table. */
export interface Workload extends Load {
  /** The name in the chart and in the README. */
  name: string
  /** The heading of the table. */
  what: string
  /** The counted unit, in the singular, and how many of them a sample has. */
  unit: string
  amount: number
}

/** Shows a number of units: `1,000`. */
export const count = (value: number): string => value.toLocaleString('en-US')
