import { bodyOf, DocumentPrograms, open } from '../setup/document-programs.ts'

const document = new DocumentPrograms('lib/inspector/README.md')

document.run({
  Setup: [async (t, app) => {
    t.match(await app.inject('/inspector/'), { statusCode: 401, headers: { 'www-authenticate': 'Basic' } })
    const { operator } = await document.load<{ operator: string }>("'fastify-typed-sse/inspector'")
    const headers = { authorization: operator }
    t.match(await bodyOf(app, '/inspector/', headers), '<title>Inspector</title>')
    t.match(await (await open(t, app, '/inspector/events', headers)).until('}\n\n'), /event: report\n/)
  }]
})
