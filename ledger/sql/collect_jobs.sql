SELECT job, succeeded_at FROM job_runs ORDER BY job
