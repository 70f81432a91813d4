import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { DocumentPrograms, open } from '../setup/document-programs.ts'

const document = new DocumentPrograms('lib/log/sqlite/README.md')
const folder = t.testdir()

// Each program has a file of its own. Without node:sqlite, it runs with libsql, which has the API of better-sqlite3.
for (const [index, { file }] of document.programs.entries()) {
  const path = JSON.stringify(join(folder, `${index}.db`))
  let text = readFileSync(file, 'utf8').replace("process.env.EVENT_LOG ?? 'events.db'", path)
  if (process.getBuiltinModule('node:sqlite') === undefined) {
    text = text.replace("'better-sqlite3'", "'libsql'")
      .replace(`sqliteLog(${path})`, `sqliteLog(new (await import('libsql')).default(${path}))`)
  }
  writeFileSync(file, text)
}

document.run({
  'One machine': [async (t, app) => {
    const client = await open(t, app, '/news')
    t.match(await client.until('-0\ndata: \n\n'), /^(:\n\n)*: live\nevent: sse.position\nid: \w+-0\ndata: \n\n$/)
    const { id } = (await app.inject({ method: 'POST', url: '/news', payload: { text: 'One' } })).json<{ id: string }>()
    t.ok((await client.until('"One"}\n\n')).endsWith(`event: headline\nid: ${id}\ndata: {"text":"One"}\n\n`))
  }],
  'With better-sqlite3': [async (t, app) => {
    t.match(await app.sse.channel('news').publish({ event: 'message', data: 'x' }), /-1$/)
  }]
})
