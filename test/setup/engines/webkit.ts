import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { need, WEBKIT, XVFB } from '../programs.ts'
import { until } from '../until.ts'
import { within } from '../within.ts'
import { PATIENCE, type Engine, type Owner, type Page } from './engine.ts'
import { folderOf, ProcessGroup } from './process-group.ts'
import { Windows, type Driver } from './windows.ts'

/** WebKitGTK on a virtual display, driven by WebDriver (W3C). */
export class WebKit implements Engine {
  readonly name = 'WebKit'
  readonly #windows: Windows

  private constructor (driver: Driver, first: string) {
    this.#windows = new Windows(driver, first)
  }

  static async start (t: Owner): Promise<WebKit> {
    const folder = folderOf(t)
    const screen = await ProcessGroup.start(t, need(XVFB), ['-displayfd', '3', '-screen', '0', '1200x900x24',
      '-nolisten', 'tcp'])
    const [display] = await within('a screen', once(screen.output, 'data'), PATIENCE) as [Buffer]
    const port = await freePort()
    const group = await ProcessGroup.start(t, need(WEBKIT), ['--host=127.0.0.1', `--port=${port}`], {
      ...process.env,
      DISPLAY: `:${String(display).trim()}`,
      HOME: folder,
      XDG_RUNTIME_DIR: folder,
      // As root it cannot use its sandbox; it visits only our pages.
      WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: '1',
      LIBGL_ALWAYS_SOFTWARE: '1'
    })
    const url = `http://127.0.0.1:${port}`
    await until('WebKitWebDriver', () => {
      if (group.isOver) throw new Error('WebKitWebDriver ended before it could be asked')
      return ask('GET', `${url}/status`).then(() => true, () => false)
    })
    // The driver knows only its own browser. A script that starts while its page is left never answers: after the
    // limit, the wait for the next page runs it again.
    const capabilities = { alwaysMatch: { acceptInsecureCerts: true, timeouts: { script: PATIENCE / 3 } } }
    const { sessionId } = await ask('POST', `${url}/session`, { capabilities }) as { sessionId: string }
    const session = `${url}/session/${sessionId}`
    const post = (path: string, body: object): Promise<unknown> => ask('POST', `${session}${path}`, body)
    const first = await ask('GET', `${session}/window`) as string
    return new WebKit({
      open: async () => (await post('/window/new', { type: 'tab' }) as { handle: string }).handle,
      switchTo: handle => post('/window', { handle }),
      navigate: address => post('/url', { url: address }),
      execute: script => post('/execute/async', { script, args: [] }),
      close: () => ask('DELETE', `${session}/window`)
    }, first)
  }

  open (t: Owner, url: string): Promise<Page> { return this.#windows.open(t, url) }
}

async function ask (method: string, url: string, body?: object): Promise<unknown> {
  const response = await fetch(url, {
    method,
    body: body === undefined ? null : JSON.stringify(body),
    signal: AbortSignal.timeout(PATIENCE)
  })
  const { value } = await response.json() as { value: unknown }
  if (response.ok) return value
  const { error, message } = value as { error: string, message: string }
  throw new Error(`${error}: ${message}`)
}

async function freePort (): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
