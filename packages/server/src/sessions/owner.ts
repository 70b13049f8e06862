/** Who owns a session: the access key that created it. */
export type Owner = string
