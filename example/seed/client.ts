// Reads an event stream with built-in modules of Node, and prints each non-empty line with the time of its arrival.
//   npm run client                                 the seed stream of `npm start`
//   npm run client -- http://127.0.0.1:3000/sse/queue

const url = process.argv[2] ?? `http://127.0.0.1:${process.env.PORT ?? 3000}/sse`

async function * linesOf (body: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<string> {
  let rest = ''
  // A chunk may end within a character, which the decoder keeps, or within a line, which `rest` keeps.
  for await (const text of body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split('\n')
    rest = lines.pop()!
    yield * lines
  }
  yield rest
}

try {
  const response = await fetch(url, { headers: { accept: 'text/event-stream' } })
  if (!response.ok || response.body === null) {
    throw new Error(`the server answered ${response.status} ${response.statusText}`)
  }
  for await (const line of linesOf(response.body)) {
    if (line !== '') console.log(`${new Date().toISOString()}  ${line}`)
  }
} catch (error) {
  const { message, cause } = error as Error
  console.error(`${url}: ${cause instanceof Error ? cause.message : message}`)
  process.exitCode = 1
}
