// Instances are kept warm, more of them and larger ones are allowed, the log is smaller, and the alert waits for many dead deliveries.
using '../main.bicep'
extends '../main.bicepparam'

param environmentName = 'always-ready'
param location = 'westeurope'
param instanceMemoryMB = 2048
param maximumInstanceCount = 100
param alwaysReadyHttp = 1
param alwaysReadyDeliver = 2
param httpPerInstanceConcurrency = 32
param alertDeadDeliveries = 20
param logDailyCapGb = '0.5'
