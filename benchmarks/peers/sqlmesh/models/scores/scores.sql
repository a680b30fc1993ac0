MODEL (
  name derived.scores,
  kind INCREMENTAL_BY_UNIQUE_KEY (unique_key event_id),
  cron '@daily',
  start FIRST_DAY
);
SELECT event_id, subject_id, occurred_at, a + b + c AS score,
       CASE WHEN a + b + c >= 6 THEN 'high' WHEN a + b + c >= 3 THEN 'medium' ELSE 'low' END AS severity
FROM raw.events
WHERE occurred_at BETWEEN @start_ts AND @end_ts
