// Callers have tokens, and call from two address ranges only.
using '../main.bicep'
extends '../main.bicepparam'

param environmentName = 'entra'
param location = 'westeurope'
param apiAllowedRanges = ['198.51.100.0/24', '2001:db8::/32']
param settings = {
  ...base.settings
  BRIDGE_AUTH: 'entra'
  BRIDGE_AUTH_TENANT: '22222222-2222-2222-2222-222222222222'
  BRIDGE_AUTH_AUDIENCE: '44444444-4444-4444-4444-444444444444'
}
