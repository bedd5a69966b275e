SELECT tasks.id, tasks.title, tasks.description, tasks.status, tasks.priority, tasks.due_date, tasks.due_all_day, tasks.created_at, tasks.updated_at, tasks.completed_at, tasks.deleted_at, tasks.revision 
FROM tasks 
WHERE tasks.id = $1::UUID AND tasks.user_id = $2::VARCHAR AND tasks.deleted_at IS NULL
