{{ config(materialized="incremental", unique_key="event_id", incremental_strategy="merge") }}
SELECT event_id, subject_id, occurred_at, a + b + c AS score,
       CASE WHEN a + b + c >= 6 THEN 'high' WHEN a + b + c >= 3 THEN 'medium' ELSE 'low' END AS severity
FROM {{ source("raw", "events") }}
{% if is_incremental() %}WHERE occurred_at > (SELECT max(occurred_at) FROM {{ this }}){% endif %}
