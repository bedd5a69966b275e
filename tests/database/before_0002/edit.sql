WITH edit AS 
(SELECT anon_1.position AS position, anon_1.id AS id, anon_1.title AS title, anon_1.description AS description, anon_1.status AS status, anon_1.priority AS priority, anon_1.due_date AS due_date, anon_1.due_all_day AS due_all_day, anon_1.sets_description AS sets_description, anon_1.sets_due_date AS sets_due_date, anon_1.reopen AS reopen, anon_1.toggle AS toggle, anon_1.from_trash AS from_trash, anon_1.to_trash AS to_trash, anon_1.if_match AS if_match 
FROM json_to_recordset($8::JSON) AS anon_1(position INTEGER, id UUID, title TEXT, description TEXT, status TEXT, priority TEXT, due_date TIMESTAMP WITH TIME ZONE, due_all_day BOOLEAN, sets_description BOOLEAN, sets_due_date BOOLEAN, reopen BOOLEAN, toggle BOOLEAN, from_trash BOOLEAN, to_trash BOOLEAN, if_match BIGINT[])), 
owner AS 
(SELECT users.id AS id 
FROM users 
WHERE users.id = $9::VARCHAR FOR NO KEY UPDATE), 
wanted AS 
(SELECT edit.position AS position, edit.to_trash AS to_trash, task.user_id AS user_id, task.id AS old_id, task.title AS old_title, task.description AS old_description, task.status AS old_status, task.priority AS old_priority, task.due_date AS old_due_date, task.due_all_day AS old_due_all_day, task.created_at AS old_created_at, task.updated_at AS old_updated_at, task.completed_at AS old_completed_at, task.deleted_at AS old_deleted_at, task.revision AS old_revision, coalesce(edit.title, task.title) AS new_title, CASE WHEN edit.sets_description THEN edit.description ELSE task.description END AS new_description, CASE WHEN edit.toggle THEN CASE WHEN (task.status = $3::VARCHAR) THEN $4::VARCHAR ELSE $5::VARCHAR END WHEN (edit.reopen AND task.status = $6::VARCHAR) THEN $7::VARCHAR ELSE coalesce(edit.status, task.status) END AS new_status, coalesce(edit.priority, task.priority) AS new_priority, CASE WHEN edit.sets_due_date THEN edit.due_date ELSE task.due_date END AS new_due_date, CASE WHEN edit.sets_due_date THEN edit.due_all_day ELSE task.due_all_day END AS new_due_all_day, edit.if_match IS NULL OR task.revision = ANY (edit.if_match) AS matched 
FROM edit JOIN owner ON true JOIN LATERAL (SELECT tasks.id AS id, tasks.title AS title, tasks.description AS description, tasks.status AS status, tasks.priority AS priority, tasks.due_date AS due_date, tasks.due_all_day AS due_all_day, tasks.created_at AS created_at, tasks.updated_at AS updated_at, tasks.completed_at AS completed_at, tasks.deleted_at AS deleted_at, tasks.revision AS revision, tasks.user_id AS user_id 
FROM tasks 
WHERE tasks.id = edit.id AND tasks.user_id = owner.id AND (tasks.deleted_at IS NOT NULL) = edit.from_trash FOR UPDATE) AS task ON true), 
step AS 
(SELECT wanted.position AS position, row_number() OVER (ORDER BY wanted.position) AS number 
FROM wanted 
WHERE wanted.matched AND (wanted.to_trash IS DISTINCT FROM (wanted.old_deleted_at IS NOT NULL) OR wanted.new_title IS DISTINCT FROM wanted.old_title OR wanted.new_description IS DISTINCT FROM wanted.old_description OR wanted.new_status IS DISTINCT FROM wanted.old_status OR wanted.new_priority IS DISTINCT FROM wanted.old_priority OR wanted.new_due_date IS DISTINCT FROM wanted.old_due_date OR wanted.new_due_all_day IS DISTINCT FROM wanted.old_due_all_day)), 
counter AS 
(UPDATE users SET revision=(users.revision + (SELECT count(*) AS count_1 
FROM step)) WHERE users.id = $9::VARCHAR AND (SELECT count(*) AS count_1 
FROM step) > $10::INTEGER RETURNING users.revision - (SELECT count(*) AS count_1 
FROM step) AS before, clock_timestamp() AS at), 
decided AS 
(SELECT wanted.old_id AS id, wanted.new_title AS title, wanted.new_description AS description, wanted.new_status AS status, wanted.new_priority AS priority, wanted.new_due_date AS due_date, wanted.new_due_all_day AS due_all_day, wanted.old_created_at AS created_at, CASE WHEN (step.number IS NOT NULL) THEN greatest(counter.at, wanted.old_updated_at + interval '1 microsecond') ELSE wanted.old_updated_at END AS updated_at, CASE WHEN (wanted.new_status = $1::VARCHAR AND wanted.old_completed_at IS NOT NULL) THEN wanted.old_completed_at WHEN (wanted.new_status = $2::VARCHAR) THEN counter.at END AS completed_at, CASE WHEN NOT wanted.to_trash THEN NULL ELSE coalesce(wanted.old_deleted_at, counter.at) END AS deleted_at, CASE WHEN (step.number IS NOT NULL) THEN counter.before + step.number ELSE wanted.old_revision END AS revision, wanted.user_id AS user_id, wanted.position AS position, wanted.matched AS matched, step.number IS NOT NULL AS changed 
FROM wanted LEFT OUTER JOIN step ON step.position = wanted.position LEFT OUTER JOIN counter ON true), 
written AS 
(UPDATE tasks SET title=decided.title, description=decided.description, status=decided.status, priority=decided.priority, due_date=decided.due_date, due_all_day=decided.due_all_day, updated_at=decided.updated_at, completed_at=decided.completed_at, deleted_at=decided.deleted_at, revision=decided.revision FROM decided WHERE tasks.id = decided.id AND tasks.user_id = decided.user_id AND decided.changed RETURNING tasks.id)
 SELECT decided.id, decided.title, decided.description, decided.status, decided.priority, decided.due_date, decided.due_all_day, decided.created_at, decided.updated_at, decided.completed_at, decided.deleted_at, decided.revision, decided.matched, decided.position 
FROM decided ORDER BY decided.position
