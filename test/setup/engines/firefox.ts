import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { FIREFOX, need } from '../programs.ts'
import { until } from '../until.ts'
import { within } from '../within.ts'
import { PATIENCE, type Engine, type Owner, type Page } from './engine.ts'
import { Marionette } from './marionette.ts'
import { folderOf, ProcessGroup } from './process-group.ts'
import { Windows, type Driver } from './windows.ts'

/** Firefox without a display, driven by its own test protocol. */
export class Firefox implements Engine {
  readonly name = 'Firefox'
  readonly #windows: Windows

  private constructor (driver: Driver, first: string) {
    this.#windows = new Windows(driver, first)
  }

  static async start (t: Owner): Promise<Firefox> {
    const folder = folderOf(t)
    // Any free port: Firefox writes it to a file.
    writeFileSync(join(folder, 'user.js'), 'user_pref("marionette.port", 0);\n')
    const args = ['--headless', '--marionette', '--no-remote', '--profile', folder, 'about:blank']
    const group = await ProcessGroup.start(t, need(FIREFOX), args, { ...process.env, HOME: folder })
    let port: number | undefined
    await until('Firefox', () => {
      if (group.isOver) throw new Error('Firefox ended before it could be asked')
      port = portIn(folder)
      return port !== undefined
    })
    const marionette = await Marionette.connect(t, port!)
    const ask = (command: string, parameters?: object): Promise<unknown> =>
      within(`an answer of Firefox to ${command}`, marionette.ask(command, parameters), PATIENCE)
    await within('a session of Firefox', marionette.ask('NewSession', { acceptInsecureCerts: true }), 2 * PATIENCE)
    const { value: first } = await ask('GetWindowHandle') as { value: string }
    return new Firefox({
      open: async () => (await ask('NewWindow', { type: 'tab' }) as { handle: string }).handle,
      switchTo: handle => ask('SwitchToWindow', { handle, focus: false }),
      navigate: url => ask('Navigate', { url }),
      execute: async script => (await ask('ExecuteAsyncScript', { script, args: [] }) as { value: unknown }).value,
      close: () => ask('CloseWindow')
    }, first)
  }

  open (t: Owner, url: string): Promise<Page> { return this.#windows.open(t, url) }
}

/** Resolves to its port once it is known. */
function portIn (folder: string): number | undefined {
  try {
    return Number(readFileSync(join(folder, 'MarionetteActivePort'), 'utf8')) || undefined
  } catch {
    return undefined
  }
}
