-- $1 job text
UPDATE job_runs SET succeeded_at = now() WHERE job = $1
