"""Requests and answers of the query API. Field names are those of STAC API Item Search where it has them."""
