"""Where data rests, from the quickest tier to the most patient one."""
