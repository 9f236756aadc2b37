// npm's oidc-provider on a free loopback port, with its default settings and what the argument adds: a JSON object of its
// configuration (`clients`, `features`, `clientDefaults` …). Prints "issuer <URL>" once it accepts connections, and ends
// when it is killed.
//
// With an `audience` in it, access tokens are JWTs (RFC 9068) for that audience, and clients get some of their own.
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

const { audience, ...configuration } = JSON.parse(process.argv[2] ?? '{}');
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

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, { jwks: { keys }, ...configuration });
  provider.on('server_error', (_context, error) => console.error(error));
  server.on('request', provider.callback());
  console.log(`issuer ${issuer}`);
});
