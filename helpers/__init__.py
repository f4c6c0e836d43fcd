"""The course's own library. Each notebook builds a part by hand; the next one imports it from here."""
