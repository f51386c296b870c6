"""`frmdn import` and `frmdn export`: recordings become a run folder, and its episodes a data set."""
