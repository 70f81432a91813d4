import Fastify from 'fastify'
import t, { type Test } from 'tap'
import sse, { type Channel } from '../../lib/index.ts'
import { GzipReader } from '../setup/gzip-reader.ts'
import { listen } from '../setup/listen.ts'
import { Nginx } from '../setup/nginx.ts'
import { absent, CADDY, HAPROXY, NGINX, VARNISH } from '../setup/programs.ts'
import { startProxy } from '../setup/proxy.ts'
import { until } from '../setup/until.ts'

t.setTimeout(300_000)

// Proxies of lib/server/proxies.md that compress streams themselves, or remove a coding, in front of a compressed one.

async function nodeOf (t: Test): Promise<{ port: number, news: Channel }> {
  const app = Fastify({ forceCloseConnections: true })
  await app.register(sse, { heartbeatInterval: 200 })
  const news = app.sse.channel('news', { compress: true })
  app.get('/', (_request, reply) => reply.sse(news))
  return { port: await listen(t, app), news }
}

/** Publishes each event after the client has the one before it. Returns the coding that the client got. */
async function coding (
  port: number,
  news: Channel,
  accept: string
): Promise<{ coding: string | undefined, vary: string | undefined }> {
  const before = news.subscribers
  const reader = await GzipReader.open(port, '/', { 'accept-encoding': accept, accept: 'text/event-stream' })
  await until('the subscription', () => news.subscribers > before)
  for (let n = 0; n < 20; n++) {
    await news.publish({ data: { n, text: 'the same words in each event' } })
    await reader.has(`"n":${n},`)
  }
  reader.destroy()
  await until('the end', async () => {
    if (news.subscribers > before) await news.publish({ data: '' })
    return news.subscribers === before
  })
  return { coding: reader.headers['content-encoding'], vary: reader.headers.vary }
}

const ONCE = { coding: 'gzip', vary: 'Accept-Encoding' }

t.test('nginx that compresses streams leaves the coding, and removes it for a client without gzip', {
  skip: absent(NGINX)
}, async t => {
  const { port, news } = await nodeOf(t)
  const nginx = await Nginx.start(t, own => `server {
    listen 127.0.0.1:${own};
    gzip on;
    gzip_types text/event-stream;
    location / {
      proxy_pass http://127.0.0.1:${port};
      proxy_http_version 1.1;
      proxy_set_header Connection '';
      proxy_set_header Accept-Encoding gzip;
      gunzip on;
      gzip_vary off;
    }
  }`)
  t.strictSame(await coding(nginx.port, news, 'gzip'), ONCE)
  t.equal((await coding(nginx.port, news, 'identity')).coding, undefined)
})

t.test('Caddy that compresses leaves the coding', { skip: absent(CADDY) }, async t => {
  const { port, news } = await nodeOf(t)
  const caddy = await startProxy(t, {
    program: CADDY,
    config: own => `{\nadmin off\n}\nhttp://:${own} {\nencode {\ngzip\nmatch header Content-Type text/event-stream*\n}\n` +
      `reverse_proxy 127.0.0.1:${port}\n}\n`,
    args: file => ['run', '--config', file, '--adapter', 'caddyfile']
  })
  t.match(await coding(caddy, news, 'gzip'), { coding: 'gzip' })
})

t.test('HAProxy that compresses leaves the coding', { skip: absent(HAPROXY) }, async t => {
  const { port, news } = await nodeOf(t)
  const haproxy = await startProxy(t, {
    program: HAPROXY,
    config: own => `defaults
  mode http
  option http-no-delay
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  compression algo gzip
  compression type text/event-stream
frontend www
  bind 127.0.0.1:${own}
  default_backend nodes
backend nodes
  server one 127.0.0.1:${port}
`,
    args: file => ['-db', '-f', file]
  })
  t.match(await coding(haproxy, news, 'gzip'), ONCE)
})

t.test('Varnish passes a piped stream on with its coding', { skip: absent(VARNISH) }, async t => {
  const { port, news } = await nodeOf(t)
  const varnish = await startProxy(t, {
    program: VARNISH,
    config: () => `vcl 4.1;
backend node { .host = "127.0.0.1"; .port = "${port}"; }
sub vcl_recv { if (req.http.Accept ~ "text/event-stream") { return (pipe); } }
sub vcl_pipe { set bereq.http.Connection = "close"; }
`,
    args: (file, folder, own) => ['-j', 'none', '-F', '-f', file, '-a', `127.0.0.1:${own}`, '-n', folder, '-s',
      'malloc,32m']
  })
  t.strictSame(await coding(varnish, news, 'gzip'), ONCE)
})
