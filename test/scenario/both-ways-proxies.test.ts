import t from 'tap'
import { Nginx } from '../setup/nginx.ts'
import { absent, NGINX } from '../setup/programs.ts'
import { open } from '../setup/raw.ts'
import { END, ended, fieldsOf, intact, nameOf, read, serve, soon, WAYS } from '../setup/ways.ts'

// The tests of both-ways.test.ts with nginx in between, which decodes chunks, or gets none, and encodes its own.

t.setTimeout(300_000)

for (const way of WAYS) {
  for (const version of ['1.0', '1.1']) {
    t.test(
      `W1: through an nginx that uses HTTP/${version} to the node, everything arrives, each event when it is sent (${
        nameOf(way)
      })`,
      { skip: absent(NGINX) },
      async t => {
        const served = await serve(t, way)
        const nginx = await Nginx.start(t, port => `
        upstream app { server 127.0.0.1:${served.port}; keepalive 4; }
        server {
          listen 127.0.0.1:${port};
          location / {
            proxy_pass http://app;
            proxy_http_version ${version};
            proxy_set_header Connection ${version === '1.0' ? 'keep-alive' : '""'};
          }
        }
      `)
        const client = await open(nginx.port, { path: '/stream/held' })
        t.teardown(() => client.socket.destroy())
        await soon('the first event', client.until('data: first\n\n'))
        served.visits[0]!.free()
        await soon('the end', client.until(END))
        for (const script of ['short', 'long', 'short']) client.request({ path: `/stream/${script}` })
        await ended(client, 4)
        // More than nginx and all buffers hold.
        client.request({ path: '/stream/flood', headers: { Connection: 'close' } })
        t.equal(await soon('the end', client.closed), 'end')
        const answers = read(client.received)
        for (const answer of answers) t.same(fieldsOf(answer, 'transfer-encoding'), ['chunked'], 'of nginx')
        await intact(t, answers, served.visits)
        t.equal(new Set(served.visits.map(({ socket }) => socket)).size, version === '1.0' ? 5 : 1, 'connections to us')
        t.same(served.problems, [])
      })
  }
}
