import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createParser } from 'eventsource-parser'
import { CURL, need } from '../programs.ts'
import { Reader, type Open, type Owner } from './reader.ts'

// A block with an id and its end. A person at the terminal sees the same.
const IDS = /^id: (.*)\n(?:.+\n)*\n/gm

/** The output of `curl -N`, parsed by the package `eventsource-parser`. */
export const openCurl: Open = async (t, url) => {
  const reader = new Reader()
  let position: string | undefined
  const run = (): void => {
    let printed = ''
    let id = ''
    const parser = createParser({
      onEvent: message => {
        id = message.id ?? id
        // A position without an event, which a program that reads all events ignores.
        if (message.event === 'sse.position') return
        reader.show({ event: message.event ?? 'message', data: message.data, id })
      }
    })
    const child = start(t, url, position === undefined ? [] : ['-H', `Last-Event-ID: ${position}`])
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      printed += text
      position = [...printed.matchAll(IDS)].at(-1)?.[1] ?? position
      parser.feed(text)
    })
    child.once('close', () => reader.stop())
  }
  reader.again = () => {
    reader.stopped = false
    run()
  }
  run()
  return reader
}

function start (t: Owner, url: string, args: readonly string[]): ChildProcess {
  const child = spawn(need(CURL), ['-sN', ...args, url], { stdio: ['ignore', 'pipe', 'ignore'] })
  const over = once(child, 'close')
  t.teardown(async () => {
    child.kill()
    await over
  })
  return child
}
