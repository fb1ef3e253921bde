package cmaf

// Golden compares with a golden file.
var Golden = golden
