import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { need, type Program } from './programs.ts'
import { freePort } from './redis.ts'

interface Owner { teardown: (fn: () => unknown) => unknown }

/**
 * How a proxy is started: its configuration for a port of 127.0.0.1, and the arguments that name the file and the
 * folder.
 */
export interface ProxySetup {
  program: Program
  config: (port: number) => string
  args: (file: string, folder: string, port: number) => string[]
}

const accepts = (port: number): Promise<boolean> => new Promise(resolve => {
  const socket = connect({ port, host: '127.0.0.1' })
  socket.once('connect', () => { socket.destroy(); resolve(true) }).once('error', () => resolve(false))
})

/**
 * Starts a proxy for one test, on a free port and in its own folder. Returns the port once the proxy accepts
 * connections.
 */
export async function startProxy (t: Owner, { program, config, args }: ProxySetup): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'proxy-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'config')
  for (let tries = 1; ; tries++) {
    const port = await freePort()
    writeFileSync(file, config(port))
    // A process group: a manager and its workers stop together.
    const child = spawn(need(program), args(file, folder, port), {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder }
    })
    let log = ''
    for (const output of [child.stdout, child.stderr]) output.setEncoding('utf8').on('data', text => { log += text })
    const over = once(child, 'close')
    t.teardown(async () => {
      if (child.exitCode === null && child.signalCode === null) process.kill(-child.pid!, 'SIGKILL')
      await over
    })
    while (child.exitCode === null && !await accepts(port)) {
      await Promise.race([over, new Promise(resolve => setTimeout(resolve, 50))])
    }
    if (child.exitCode === null) return port
    // Another process may have taken the port.
    if (tries === 3) throw new Error(`${program.title} ended before it accepted connections: ${log}`)
  }
}
