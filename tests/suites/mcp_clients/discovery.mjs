// How the published TypeScript package finds an authorization server when it has no token.
// Reads what to do from standard input, one JSON object, and prints what it asked for.

import { createInterface } from 'node:readline';

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const lines = createInterface({ input: process.stdin });
const task = JSON.parse((await lines[Symbol.asyncIterator]().next()).value);
const asked = [];
const registered = [];

async function noted(url, options) {
  const response = await fetch(url, options);
  asked.push([options?.method ?? 'GET', String(url), response.status]);
  return response;
}

// It knows no authorization server, and is registered nowhere.
const authProvider = {
  redirectUrl: 'http://127.0.0.1/callback',
  clientMetadata: { redirect_uris: ['http://127.0.0.1/callback'], client_name: 'suite' },
  clientInformation: () => undefined,
  saveClientInformation: (information) => registered.push(information),
  tokens: () => undefined,
  saveTokens: () => {},
  redirectToAuthorization: () => {},
  saveCodeVerifier: () => {},
  codeVerifier: () => '',
};
const transport = new StreamableHTTPClientTransport(new URL(task.url), { fetch: noted, authProvider });
let failed;
try {
  await new Client({ name: 'suite', version: '1.0.0' }).connect(transport);
} catch (error) {
  failed = `${error?.name}: ${error?.message}`;
}
console.log(JSON.stringify({ asked, failed, scope: transport._scope, registered: registered.length }));
process.exit(0);
