// Exchanges a token as backends would, with npm's openid-client. Reads {issuer, app, user, password, access_token, service, clients} as
// JSON from standard input. Without an access token it fetches one for the user at the issuer, as the public client `app`. Each of the
// clients, {id, secret} or {id, key}, exchanges it at the service: by its secret, once in the header and once in the form, or by what it
// signs with its key, ES256 in PKCS#8 PEM. Prints {access_token, replies} as JSON. Ends with 0 when the library accepts every answer.

import { createPrivateKey } from 'node:crypto';
import { text } from 'node:stream/consumers';
import * as client from 'openid-client';

const told = JSON.parse(await text(process.stdin));
const { issuer, app, user, password, service } = told;
const insecure = { execute: [client.allowInsecureRequests] };

async function fetchToken() {
  const provider = await client.discovery(new URL(issuer), app, undefined, client.None(), insecure);
  const tokens = await client.genericGrantRequest(provider, 'password', {
    username: user,
    password,
    scope: 'openid email profile',
  });
  return tokens.access_token;
}

function authentications({ secret, key }) {
  if (secret) return [client.ClientSecretBasic(secret), client.ClientSecretPost(secret)];
  const ecdsa = { name: 'ECDSA', namedCurve: 'P-256' };
  return [client.PrivateKeyJwt(createPrivateKey(key).toCryptoKey(ecdsa, false, ['sign']))];
}

const access_token = told.access_token ?? (await fetchToken());
const replies = [];
for (const backend of told.clients) {
  for (const authentication of authentications(backend)) {
    const vestibule = new client.Configuration(
      { issuer: service, token_endpoint: `${service}/oauth2/token` },
      backend.id,
      {},
      authentication,
    );
    client.allowInsecureRequests(vestibule);
    replies.push(
      await client.genericGrantRequest(
        vestibule,
        'urn:ietf:params:oauth:grant-type:token-exchange',
        {
          subject_token: access_token,
          subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
        },
      ),
    );
  }
}
console.log(JSON.stringify({ access_token, replies }));
