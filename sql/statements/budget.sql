-- name: take_turn
SELECT wait_seconds, place FROM ops.take_turn($1, $2, $3, $4);

-- name: give_place_back
SELECT ops.give_place_back($1, $2);

-- name: pause_company
SELECT ops.pause_company($1, $2);

-- name: month_usage
SELECT month, requests FROM ops.usage WHERE realm_id = $1 ORDER BY month DESC LIMIT 12;
