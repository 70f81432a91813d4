import { chmodSync, copyFileSync, readFileSync, writeFileSync } from 'node:fs'

// Completes dist-client, from which the package fastify-typed-sse-client is packed: tsc has written its code.
copyFileSync('LICENSE', 'dist-client/LICENSE')
copyFileSync('lib/client/package.json', 'dist-client/package.json')
// The examples run in this repository, where the client is an entry point of the server's package.
const readme = readFileSync('lib/client/README.md', 'utf8')
writeFileSync('dist-client/README.md',
  readme.replaceAll(/(?<=['`])fastify-typed-sse\/client\b/g, 'fastify-typed-sse-client'))
chmodSync('dist-client/cli.js', 0o755)
