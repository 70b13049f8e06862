const ACCESS_KEY = '[A-Za-z0-9_.-]{1,128}'

/** `accessKey:secretKey`; a secret is printable ASCII without spaces. */
export const KEY_PATTERN: RegExp = new RegExp(`^(${ACCESS_KEY}):([\\x21-\\x7e]{1,256})$`)
/** What a signature's credential is: `accessKey:signature`, HMAC-SHA256 in hexadecimal. */
export const CREDENTIAL_PATTERN: RegExp = new RegExp(`^(${ACCESS_KEY}):([0-9A-Fa-f]{64})$`)
