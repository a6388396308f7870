// Nothing is chosen: a Speech resource is created, and the identity has its role there.
using '../main.bicep'
extends '../main.bicepparam'

param environmentName = 'default'
param location = 'westeurope'
