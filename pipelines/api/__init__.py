"""What goes over the wire: requests and answers of the query API, names as in STAC API Item Search."""
