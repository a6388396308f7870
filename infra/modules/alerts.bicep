// What an operator is told of. README.md has a page for each; the queries are in the folder beside this one.
param location string
param tags object
param workspaceId string
param email string
param actionGroupId string
param runbookUrl string
param deadDeliveries int

var alerts = [
  {
    name: 'no-sweep'
    title: 'No sweep: the timer has stopped'
    severity: 1
    query: loadTextContent('../queries/no-sweep.kql')
    // Five minutes of silence, and five for lines that come late.
    window: 'PT10M'
    every: 'PT5M'
    operator: 'LessThan'
    threshold: 1
  }
  {
    name: 'misconfigured'
    title: 'The app is misconfigured, and does nothing'
    severity: 1
    query: loadTextContent('../queries/misconfigured.kql')
    window: 'PT10M'
    every: 'PT5M'
    operator: 'GreaterThan'
    threshold: 0
  }
  {
    name: 'overdue'
    title: 'Something has been due for over 10 minutes'
    severity: 2
    query: loadTextContent('../queries/overdue.kql')
    window: 'PT10M'
    every: 'PT5M'
    operator: 'GreaterThan'
    threshold: 0
  }
  {
    name: 'queue-unavailable'
    title: 'Messages cannot be sent to the queue: callbacks wait'
    severity: 2
    query: loadTextContent('../queries/queue-unavailable.kql')
    // A moment's trouble is a line or two.
    window: 'PT10M'
    every: 'PT5M'
    operator: 'GreaterThan'
    threshold: 4
  }
  {
    name: 'storage-refused'
    title: 'Storage refuses the app: a role, a key or a firewall is wrong'
    severity: 1
    query: loadTextContent('../queries/storage-refused.kql')
    // One line a minute at the least.
    window: 'PT10M'
    every: 'PT5M'
    operator: 'GreaterThan'
    threshold: 4
  }
  {
    name: 'source-denied'
    title: 'A source is paused: Speech does not take the credential'
    severity: 2
    query: loadTextContent('../queries/source-denied.kql')
    // The longest pause between two probes is 15 minutes.
    window: 'PT30M'
    every: 'PT15M'
    operator: 'GreaterThan'
    threshold: 0
  }
  {
    name: 'source-unreachable'
    title: 'A source does not answer'
    severity: 2
    query: loadTextContent('../queries/source-unreachable.kql')
    window: 'PT15M'
    every: 'PT5M'
    operator: 'GreaterThan'
    threshold: 0
  }
  {
    name: 'dead-deliveries'
    title: 'Deliveries have died: every attempt failed'
    severity: 3
    query: loadTextContent('../queries/dead-deliveries.kql')
    window: 'PT15M'
    every: 'PT15M'
    operator: 'GreaterThanOrEqual'
    threshold: deadDeliveries
  }
  {
    name: 'receiver-failing'
    title: 'A receiver is failing: no answer of 2xx'
    severity: 3
    query: loadTextContent('../queries/receiver-failing.kql')
    // The first four attempts of a delivery are spread over 29 to 43 minutes, and further ones over hours.
    window: 'PT6H'
    every: 'PT15M'
    operator: 'GreaterThan'
    threshold: 0
  }
  {
    name: 'poison-messages'
    title: 'Queue messages were set aside as poisonous'
    severity: 2
    query: loadTextContent('../queries/poison-messages.kql')
    window: 'PT15M'
    every: 'PT15M'
    operator: 'GreaterThan'
    threshold: 0
  }
  {
    name: 'server-errors'
    title: 'The API answers 5xx'
    severity: 2
    query: loadTextContent('../queries/server-errors.kql')
    window: 'PT15M'
    every: 'PT15M'
    operator: 'GreaterThan'
    threshold: 4
  }
]

var actionGroups = concat(empty(email) ? [] : [operators.id], empty(actionGroupId) ? [] : [actionGroupId])
var runbook = empty(runbookUrl) ? 'infra/README.md, Runbook, ' : '${runbookUrl}#'

resource operators 'Microsoft.Insights/actionGroups@2023-01-01' = if (!empty(email)) {
  name: 'ag-bridge'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'bridge'
    enabled: true
    emailReceivers: [
      { name: 'operators', emailAddress: email, useCommonAlertSchema: true }
    ]
  }
}

resource rules 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for alert in alerts: {
    name: 'bridge-${alert.name}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: alert.title
      description: 'What to do: ${runbook}${alert.name}'
      severity: alert.severity
      enabled: true
      autoMitigate: true
      scopes: [workspaceId]
      evaluationFrequency: alert.every
      windowSize: alert.window
      // A table that nothing was written to yet is not there: the query must not be refused for that.
      skipQueryValidation: true
      criteria: {
        allOf: [
          {
            query: alert.query
            timeAggregation: 'Count'
            operator: alert.operator
            threshold: alert.threshold
            failingPeriods: { numberOfEvaluationPeriods: 1, minFailingPeriodsToAlert: 1 }
          }
        ]
      }
      actions: {
        actionGroups: actionGroups
      }
    }
  }
]
