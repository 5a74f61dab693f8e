"""The models of requests and objects that the API, the console and the command line share."""
