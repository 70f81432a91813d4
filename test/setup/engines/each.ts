import type { Test } from 'tap'
import { absent, CHROMIUM, FIREFOX, WEBKIT, XVFB } from '../programs.ts'
import { Chromium } from './chromium.ts'
import type { Engine, Owner } from './engine.ts'
import { Firefox } from './firefox.ts'
import { WebKit } from './webkit.ts'

/** An engine that can be started. */
export interface Startable {
  name: string
  /** Why its tests are skipped, or false. */
  skip: string | false
  start: (t: Owner) => Promise<Engine>
}

export const ENGINES: readonly Startable[] = [
  { name: 'Chromium', skip: absent(CHROMIUM), start: t => Chromium.start(t) },
  { name: 'Firefox', skip: absent(FIREFOX), start: t => Firefox.start(t) },
  { name: 'WebKit', skip: absent(WEBKIT, XVFB), start: t => WebKit.start(t) }
]

/**
 * Runs the same tests in each engine, which is started once. Engines run at the same time, each with this number of
 * jobs.
 */
export function inEachEngine (t: Test, jobs: number, tests: (t: Test, engine: Engine) => void): void {
  t.jobs = ENGINES.length
  for (const { name, skip, start } of ENGINES) {
    t.test(`in ${name}`, { skip, jobs }, async t => tests(t, await start(t)))
  }
}
