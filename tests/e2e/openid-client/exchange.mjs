// Exchanges a token as a backend would, with npm's openid-client. Reads {issuer, app, user, password, service, id, secret} as JSON from
// standard input: fetches an access token for the user at the issuer as the public client `app`, exchanges it at the service as the
// client `id`, once with its secret in the header and once in the form, and prints {access_token, replies} as JSON. Ends with 0
// when the library accepts every answer.

import { text } from 'node:stream/consumers';
import * as client from 'openid-client';

const { issuer, app, user, password, service, id, secret } = JSON.parse(await text(process.stdin));
const insecure = { execute: [client.allowInsecureRequests] };

const provider = await client.discovery(new URL(issuer), app, undefined, client.None(), insecure);
const { access_token } = await client.genericGrantRequest(provider, 'password', {
  username: user,
  password,
  scope: 'openid email profile',
});

const replies = [];
for (const authentication of [client.ClientSecretBasic(secret), client.ClientSecretPost(secret)]) {
  const vestibule = new client.Configuration(
    { issuer: service, token_endpoint: `${service}/oauth2/token` },
    id,
    {},
    authentication,
  );
  client.allowInsecureRequests(vestibule);
  replies.push(
    await client.genericGrantRequest(vestibule, 'urn:ietf:params:oauth:grant-type:token-exchange', {
      subject_token: access_token,
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    }),
  );
}
console.log(JSON.stringify({ access_token, replies }));
