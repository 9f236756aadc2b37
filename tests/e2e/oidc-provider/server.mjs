// npm's oidc-provider on a free loopback port, with its default settings and what the argument adds: a JSON object of its
// configuration (`clients`, `features`, `clientDefaults` …). Prints "issuer <URL>" once it accepts connections, and ends
// when it is killed.
//
// With an `audience` in it, access tokens are JWTs (RFC 9068) for that audience, and clients get some of their own.
//
// With `lifecycle`, it gives refresh tokens that are for one use to whoever may have them, tells clients of logouts, and knows of the
// people what is PUT to /people/NAME: claims in JSON, or `null` for somebody who is gone.
//
// One setting is not the default's: its keys. The built-in ones sign RS256 only; here each algorithm that Vestibule
// accepts by default has one.

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

const keys = [
  generateKeyPairSync('rsa', { modulusLength: 2048 }),
  generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  generateKeyPairSync('ed25519'),
].map(({ privateKey }) => ({ ...privateKey.export({ format: 'jwk' }), use: 'sig' }));

const { audience, lifecycle, ...configuration } = JSON.parse(process.argv[2] ?? '{}');
if (audience) {
  const resource = { audience, accessTokenFormat: 'jwt', scope: '' };
  configuration.features = {
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => audience,
      getResourceServerInfo: () => resource,
      useGrantedResource: () => true,
    },
  };
}

const people = new Map();
if (lifecycle) {
  configuration.features = {
    ...configuration.features,
    backchannelLogout: { enabled: true },
    revocation: { enabled: true },
  };
  configuration.claims = { openid: ['sub', 'groups'] };
  configuration.findAccount = (_context, accountId) => {
    const claims = people.get(accountId);
    return claims === null ? undefined : { accountId, claims: () => ({ sub: accountId, ...claims }) };
  };
  configuration.issueRefreshToken = (_context, client) => client.grantTypeAllowed('refresh_token');
  configuration.rotateRefreshToken = true;
  // Signing out by POST, which its default leaves out; then it wants this of its cookies.
  configuration.enableHttpPostMethods = true;
  configuration.cookies = { long: { sameSite: 'none' } };
  // Its own guard lets it call no loopback address.
  configuration.fetch = (url, { dispatcher, ...options }) => fetch(url, options);
}

async function change(request, response) {
  let body = '';
  for await (const chunk of request) body += chunk;
  people.set(request.url.slice('/people/'.length), JSON.parse(body));
  response.writeHead(204).end();
}

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, { jwks: { keys }, ...configuration });
  provider.on('server_error', (_context, error) => console.error(error));
  const callback = provider.callback();
  server.on('request', (request, response) => {
    const changes = lifecycle && request.method === 'PUT' && request.url.startsWith('/people/');
    return changes ? change(request, response) : callback(request, response);
  });
  console.log(`issuer ${issuer}`);
});
