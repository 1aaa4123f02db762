// An MCP server of the published TypeScript package. Prints its port, and each call of a tool.

import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';

import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import * as z from 'zod/v4';

const say = (what) => console.log(JSON.stringify(what));
const sessions = new Map();

function server() {
  const own = new McpServer({ name: 'suite', version: '1.0.0' });
  const text = (said) => ({ content: [{ type: 'text', text: said }] });
  own.registerTool('search', { inputSchema: { q: z.string() } }, ({ q }) => {
    say({ called: 'search' });
    return text(`found ${q}`);
  });
  for (const [name, said] of [['delete_all', 'deleted'], ['unlisted', 'unlisted']]) {
    own.registerTool(name, {}, () => {
      say({ called: name });
      return text(said);
    });
  }
  own.registerTool('watch', {}, async ({ sendNotification, _meta }) => {
    say({ called: 'watch' });
    const params = { progressToken: _meta.progressToken, progress: 1, total: 2, message: 'begun' };
    await sendNotification({ method: 'notifications/progress', params });
    await new Promise((done) => setTimeout(done, 120_000));
    return text('the end');
  });
  return own;
}

const http = createServer(async (request, response) => {
  let transport = sessions.get(request.headers['mcp-session-id']);
  if (!transport) {
    transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: () => randomUUID(),
      onsessioninitialized: (id) => sessions.set(id, transport),
    });
    await server().connect(transport);
  }
  await transport.handleRequest(request, response);
});
http.listen(0, '127.0.0.1', () => say({ port: http.address().port }));
