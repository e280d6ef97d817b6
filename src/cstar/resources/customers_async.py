"""The customers of a team (API page "Customers")."""

from __future__ import annotations

from collections.abc import Mapping

from cstar import models
from cstar._pagination import AsyncPaginator
from cstar._types import NOT_GIVEN, AsyncItems, Id, Json, NotGiven, QueryValue
from cstar.errors import APIError, ConflictError, NotFoundError
from cstar.resources._customer_calls import (
    TagsParam,
    UpsertSteps,
    bulk_delete_job,
    bulk_import_job,
    bulk_update_job,
    check_email,
    create_call,
    delete_call,
    export_call,
    get_call,
    has_email,
    list_call,
    update_call,
)
from cstar.resources._resource import AsyncResource, async_raw_form

__all__ = ["AsyncCustomers", "AsyncCustomersWithRawResponse"]


class AsyncCustomers(AsyncResource):
    """`client.customers`: the customers of a team, one by one and many at a time."""

    def list(
        self,
        team_id: Id,
        *,
        status: models.CustomerStatus | None = None,
        sentiment: models.CustomerSentiment | None = None,
        search: str | None = None,
        tag: str | None = None,
        page: int = 1,
        page_size: int = 100,
        prefetch: int = 0,
        gapless: bool = False,
        resume: str | None = None,
        extra_query: Mapping[str, QueryValue] | None = None,
    ) -> AsyncPaginator[models.Customer]:
        """List a team's customers, newest first (API page "Customers", List Customers).

        Args:
            team_id: The team's id, a UUID.
            status: Only customers of this status: `"active"` or `"inactive"`.
            sentiment: Only customers of this sentiment: `"happy"`, `"neutral"`, `"frustrated"` or `"angry"`.
            search: Only customers whose name or email contains this.
            tag: Only customers with exactly this tag.
            page: The number of the page to begin at. `ListOptions` says more about this and the others.
            page_size: Rows per page, 1 to 100.
            prefetch: Pages to fetch ahead while iterating, 0 to 100.
            gapless: Whether to prove that iterating skips no row.
            resume: A checkpoint of an earlier iteration, to go on from there.
            extra_query: Further query parameters, in the API's spelling.

        Returns:
            The page, with `data`, `total` and `has_more`. Iterating it yields every customer from there to the end,
            and fetches each page when it is needed.

        Raises:
            InvalidParameterError: A parameter was refused; nothing was sent.
            APIStatusError: The server answered with an error.
            APIConnectionError: No answer came.

        Example:
            ```python
            async for customer in client.customers.list(team_id, status="active"):
                print(customer.name, customer.email)
            ```
        """
        return self._list(
            list_call(
                team_id,
                status=status,
                sentiment=sentiment,
                search=search,
                tag=tag,
                page=page,
                page_size=page_size,
                prefetch=prefetch,
                gapless=gapless,
                resume=resume,
                extra_query=extra_query,
            )
        )

    async def create(
        self,
        team_id: Id,
        *,
        name: str,
        email: str,
        sentiment: models.CustomerSentiment | None = None,
        status: models.CustomerStatus | None = None,
        tags: TagsParam | None = None,
        notes: str | None = None,
        custom_fields: Mapping[str, Json] | None = None,
        metadata: Mapping[str, str] | None = None,
        extra_body: Mapping[str, Json] | None = None,
        idempotency_key: str | None = None,
    ) -> models.Customer:
        """Create a customer (API page "Customers", Create Customer). Needs a secret key.

        Args:
            team_id: The team's id, a UUID.
            name: Display name.
            email: Email address, unique in the team.
            sentiment: `"happy"`, `"neutral"` (the server's default), `"frustrated"` or `"angry"`.
            status: `"active"` (the server's default) or `"inactive"`.
            tags: Tags.
            notes: Internal notes.
            custom_fields: Custom data: any JSON values.
            metadata: Developer metadata: at most 50 keys of at most 40 characters, values of at most 500.
            extra_body: Further fields, in the API's spelling.
            idempotency_key: Names this operation: 1 to 255 printable ASCII characters. Repeating the call with the
                same key within 24 hours returns the first answer and creates nobody twice, also from another process.
                By default a fresh UUID for each call, the same on all of its attempts.

        Returns:
            The customer as the server stored it.

        Raises:
            InvalidParameterError: A parameter was refused; nothing was sent.
            ConflictError: The email belongs to a customer of the team already.
            PermissionDeniedError: The key is publishable, or of another team.
            APIStatusError: The server answered with another error.
            APIConnectionError: No answer came; repeat it with the error's `idempotency_key`.

        Example:
            ```python
            jane = await client.customers.create(team_id, name="Jane Doe", email="jane@example.com", tags=["vip"])
            ```
        """
        return await self._send(
            create_call(
                team_id,
                extra_body,
                idempotency_key,
                name=name,
                email=email,
                sentiment=sentiment,
                status=status,
                tags=tags,
                notes=notes,
                custom_fields=custom_fields,
                metadata=metadata,
            )
        )

    async def get(
        self,
        team_id: Id,
        customer_id: Id,
        *,
        expand: str | None = None,
        extra_query: Mapping[str, QueryValue] | None = None,
    ) -> models.CustomerDetail:
        """Get a customer, with the 10 newest tickets (API page "Customers", Get Customer).

        Args:
            team_id: The team's id, a UUID.
            customer_id: The customer's id: `cus_…` or a UUID.
            expand: Any value other than `"tickets"` leaves the tickets out, such as `"customer"`.
            extra_query: Further query parameters, in the API's spelling. A list repeats its name; `None` is left out.

        Returns:
            The customer. `recent_tickets` is `None` where they were left out.

        Raises:
            InvalidParameterError: A parameter was refused; nothing was sent.
            NotFoundError: The team has no such customer.
            APIStatusError: The server answered with another error.
            APIConnectionError: No answer came.

        Example:
            ```python
            customer = await client.customers.get(team_id, "cus_x9Y8z7W6v5U4")
            ```
        """
        return await self._send(get_call(team_id, customer_id, expand, extra_query))

    async def update(
        self,
        team_id: Id,
        customer_id: Id,
        *,
        name: str | NotGiven = NOT_GIVEN,
        email: str | NotGiven = NOT_GIVEN,
        sentiment: models.CustomerSentiment | NotGiven = NOT_GIVEN,
        status: models.CustomerStatus | NotGiven = NOT_GIVEN,
        tags: TagsParam | NotGiven = NOT_GIVEN,
        notes: str | NotGiven | None = NOT_GIVEN,
        custom_fields: Mapping[str, Json] | NotGiven = NOT_GIVEN,
        metadata: Mapping[str, str] | Mapping[str, str | None] | NotGiven = NOT_GIVEN,
        extra_body: Mapping[str, Json] | None = None,
        idempotency_key: str | None = None,
    ) -> models.Customer:
        """Change a customer (API page "Customers", Update Customer). Needs a secret key.

        Only what you pass is sent and changed. `None` is sent as null, which is not the same as leaving out:
        `notes=None` clears the notes. Tags and custom fields are replaced as a whole, so two programs that change them
        at the same time lose one change. Metadata is merged by key.

        Args:
            team_id: The team's id, a UUID.
            customer_id: The customer's id: `cus_…` or a UUID.
            name: The new display name.
            email: The new email address, unique in the team.
            sentiment: `"happy"`, `"neutral"`, `"frustrated"` or `"angry"`.
            status: `"active"` or `"inactive"`.
            tags: Replaces all tags; `[]` removes them.
            notes: The new notes; `None` clears them.
            custom_fields: Replaces all custom data.
            metadata: Merged into the metadata there is: a key with `None` is removed, a key left out stays. At most
                50 keys of at most 40 characters, values of at most 500.
            extra_body: Further fields, in the API's spelling.
            idempotency_key: Names this operation: 1 to 255 printable ASCII characters. Repeating the call with the
                same key within 24 hours returns the first answer and changes nothing again.
                By default a fresh UUID for each call, the same on all of its attempts.

        Returns:
            The customer as it is now.

        Raises:
            InvalidParameterError: A parameter was refused; nothing was sent.
            NotFoundError: The team has no such customer.
            ConflictError: The email belongs to another customer of the team.
            PermissionDeniedError: The key is publishable, or of another team.
            APIStatusError: The server answered with another error.
            APIConnectionError: No answer came; repeat it with the error's `idempotency_key`.

        Example:
            ```python
            await client.customers.update(team_id, customer.id, status="inactive", metadata={"crm_id": "42"})
            ```
        """
        return await self._send(
            update_call(
                team_id,
                customer_id,
                extra_body,
                idempotency_key,
                name=name,
                email=email,
                sentiment=sentiment,
                status=status,
                tags=tags,
                notes=notes,
                custom_fields=custom_fields,
                metadata=metadata,
            )
        )

    async def find(self, team_id: Id, email: str) -> models.Customer | None:
        """Find a customer by email address (API page "Customers", List Customers).

        It searches for the address, and compares it with that of each match in any case, because a search also finds
        parts of a name or address. Usually one request.

        Args:
            team_id: The team's id, a UUID.
            email: The whole email address, in any case.

        Returns:
            The customer; `None` if the team has none with this address.

        Raises:
            InvalidParameterError: A parameter was refused; nothing was sent.
            APIStatusError: The server answered with an error.
            APIConnectionError: No answer came.

        Example:
            ```python
            jane = await client.customers.find(team_id, "jane@example.com")
            ```
        """
        email = check_email(email)
        async for customer in self.list(team_id, search=email):
            if has_email(customer, email):
                return customer
        return None

    async def delete(
        self, team_id: Id, customer_id: Id, *, idempotency_key: str | None = None
    ) -> models.DeletedCustomer:
        """Delete a customer (API page "Customers", Delete Customer). Needs a secret key that may delete.

        A deletion whose answer is lost on the way, and whose repetition finds the customer gone, counts as done.

        Args:
            team_id: The team's id, a UUID.
            customer_id: The customer's id: `cus_…` or a UUID.
            idempotency_key: Names this operation: 1 to 255 printable ASCII characters. By default a fresh UUID for
                each call, the same on all of its attempts.

        Returns:
            The receipt, with the id of the customer that is gone.

        Raises:
            InvalidParameterError: A parameter was refused; nothing was sent.
            NotFoundError: The team has no such customer.
            PermissionDeniedError: The key may not delete, is publishable, or of another team.
            APIStatusError: The server answered with another error.
            APIConnectionError: No answer came.

        Example:
            ```python
            await client.customers.delete(team_id, customer.id)
            ```
        """
        return await self._send(delete_call(team_id, customer_id, idempotency_key))

    async def upsert(
        self,
        team_id: Id,
        *,
        email: str,
        name: str,
        sentiment: models.CustomerSentiment | None = None,
        status: models.CustomerStatus | None = None,
        tags: TagsParam | None = None,
        notes: str | None = None,
        custom_fields: Mapping[str, Json] | None = None,
        metadata: Mapping[str, str] | None = None,
        extra_body: Mapping[str, Json] | None = None,
        idempotency_key: str | None = None,
    ) -> models.Upserted:
        """Create a customer, or update the one with this email address (API page "Customers"). Needs a secret key.

        It creates first, so that two programs at the same time create one customer. If the address is taken, it finds
        that customer in any case of letters, and updates the fields that you pass. One request for a new customer,
        three for one that exists; for many customers, `bulk_import` takes one request for 500.

        Args:
            team_id: The team's id, a UUID.
            email: Email address, by which the customer is found in any case. One that exists keeps its spelling.
            name: Display name.
            sentiment: `"happy"`, `"neutral"` (the server's default), `"frustrated"` or `"angry"`.
            status: `"active"` (the server's default) or `"inactive"`.
            tags: Tags; replaces all tags of a customer that exists.
            notes: Internal notes.
            custom_fields: Custom data: any JSON values; replaces all custom data of a customer that exists.
            metadata: Developer metadata, merged into that of a customer that exists.
            extra_body: Further fields, in the API's spelling.
            idempotency_key: Names this operation: 1 to 200 printable ASCII characters. Repeating the call with the
                same key within 24 hours has no further effect, unless others have deleted the customer since. By
                default a fresh UUID for each call.

        Returns:
            The customer, and whether it was created.

        Raises:
            InvalidParameterError: A parameter was refused; nothing was sent.
            ConflictError: The address was taken each time, but no customer was found by it.
            PermissionDeniedError: The key is publishable, or of another team.
            APIStatusError: The server answered with another error.
            APIConnectionError: No answer came; repeat it with the same key.

        Example:
            ```python
            customer, created = await client.customers.upsert(team_id, email="jane@example.com", name="Jane Doe")
            ```
        """
        steps = UpsertSteps(
            team_id,
            extra_body,
            idempotency_key,
            name=name,
            email=email,
            sentiment=sentiment,
            status=status,
            tags=tags,
            notes=notes,
            custom_fields=custom_fields,
            metadata=metadata,
        )
        try:
            return await AsyncCustomers(self._transport.with_shared_deadline())._upsert(team_id, steps)
        except APIError as error:
            error.idempotency_key = steps.key
            raise

    async def _upsert(self, team_id: Id, steps: UpsertSteps) -> models.Upserted:
        while True:
            if steps.attempts:
                await self._transport.back_off(steps.attempts)
            try:
                return models.Upserted(await self._send(steps.create()), created=True)
            except ConflictError as error:
                steps.check_conflict(error)
                conflict = error
            if (holder := await self.find(team_id, steps.email)) is None:
                steps.check_missing(conflict)
                continue  # it is gone meanwhile
            try:
                return models.Upserted(await self._send(steps.update(holder.id)), created=False)
            except NotFoundError:
                continue

    async def bulk_update(
        self,
        team_id: Id,
        ids: AsyncItems[Id],
        *,
        name: str | NotGiven = NOT_GIVEN,
        email: str | NotGiven = NOT_GIVEN,
        sentiment: models.CustomerSentiment | NotGiven = NOT_GIVEN,
        status: models.CustomerStatus | NotGiven = NOT_GIVEN,
        tags: TagsParam | NotGiven = NOT_GIVEN,
        notes: str | NotGiven | None = NOT_GIVEN,
        custom_fields: Mapping[str, Json] | NotGiven = NOT_GIVEN,
        metadata: Mapping[str, str] | Mapping[str, str | None] | NotGiven = NOT_GIVEN,
        extra_body: Mapping[str, Json] | None = None,
        idempotency_key: str | None = None,
    ) -> models.BulkResult:
        """Change many customers alike, 100 with each request (API page "Bulk operations"). Needs a secret key.

        The ids are drawn one by one, so a generator of any length will do. Each id is checked before its request is
        sent. An id that fails on the server is an entry in `errors`, and raises nothing.

        Args:
            team_id: The team's id, a UUID.
            ids: The customers' ids: `cus_…` or UUIDs.
            name: The new display name.
            email: The new email address, unique in the team, so only one customer can have it.
            sentiment: `"happy"`, `"neutral"`, `"frustrated"` or `"angry"`.
            status: `"active"` or `"inactive"`.
            tags: Replaces all tags; `[]` removes them.
            notes: The new notes; `None` clears them.
            custom_fields: Replaces all custom data.
            metadata: Merged into the metadata there is: a key with `None` is removed, a key left out stays. At most
                50 keys of at most 40 characters, values of at most 500.
            extra_body: Further fields, in the API's spelling.
            idempotency_key: Names this operation: 1 to 244 printable ASCII characters. The same call with the same key
                and ids within 24 hours goes on where it ended, and changes nothing again. By default a fresh UUID.

        Returns:
            The sum over all requests, and the errors with their index in `ids`.

        Raises:
            InvalidParameterError: A parameter was refused. Of `ids`, those of earlier requests were sent: see
                `partial`.
            PermissionDeniedError: The key is publishable, or of another team.
            ConflictError: The key was used for other content within 24 hours.
            APIStatusError: The server answered a request with another error; `partial` has the result so far.
            APIConnectionError: A request got no answer; `partial` has the result so far, `idempotency_key` goes on.

        Example:
            ```python
            result = await client.customers.bulk_update(team_id, ids, status="inactive")
            print(result.succeeded, result.errors)
            ```
        """
        job = bulk_update_job(
            team_id,
            extra_body,
            idempotency_key,
            name=name,
            email=email,
            sentiment=sentiment,
            status=status,
            tags=tags,
            notes=notes,
            custom_fields=custom_fields,
            metadata=metadata,
        )
        return await self._run(job, ids)

    async def bulk_delete(
        self, team_id: Id, ids: AsyncItems[Id], *, idempotency_key: str | None = None
    ) -> models.BulkResult:
        """Delete many customers, 100 with each request (API page "Bulk operations"). Needs a key that may delete.

        The ids are drawn one by one, so a generator of any length will do. Each id is checked before its request is
        sent. An id that fails on the server is an entry in `errors`, and raises nothing.

        Args:
            team_id: The team's id, a UUID.
            ids: The customers' ids: `cus_…` or UUIDs.
            idempotency_key: Names this operation: 1 to 244 printable ASCII characters. The same call with the same key
                and ids within 24 hours goes on where it ended. By default a fresh UUID.

        Returns:
            The sum over all requests, and the errors with their index in `ids`.

        Raises:
            InvalidParameterError: A parameter was refused. Of `ids`, those of earlier requests were sent: see
                `partial`.
            PermissionDeniedError: The key may not delete, is publishable, or of another team.
            ConflictError: The key was used for other content within 24 hours.
            APIStatusError: The server answered a request with another error; `partial` has the result so far.
            APIConnectionError: A request got no answer; `partial` has the result so far, `idempotency_key` goes on.

        Example:
            ```python
            inactive = [customer.id async for customer in client.customers.list(team_id, status="inactive")]
            result = await client.customers.bulk_delete(team_id, inactive)
            ```
        """
        return await self._run(bulk_delete_job(team_id, idempotency_key), ids)

    async def bulk_import(
        self,
        team_id: Id,
        records: AsyncItems[models.CustomerRecord | Mapping[str, object]],
        *,
        merge_strategy: str = "skip",
        idempotency_key: str | None = None,
    ) -> models.ImportResult:
        """Create many customers, up to 500 with each request (API page "Import"). Needs a secret key.

        The records are drawn one by one, so a generator of any length will do. Each record is checked before its
        request is sent. A record that fails on the server is an entry in `errors`, and raises nothing. A request has
        at most 1 MiB.

        Args:
            team_id: The team's id, a UUID.
            records: A list or another iterable, such as a `csv.DictReader`. Each record is a mapping with `name` and
                `email`, and further fields of `create`: `CustomerRecord`. A field that is `None` is left out.
            merge_strategy: What the server does with a customer that exists, by its email address. The API documents
                `"skip"`, which leaves it as it is; other values are passed on.
            idempotency_key: Names this operation: 1 to 244 printable ASCII characters. The same call with the same key
                and records within 24 hours goes on where it ended, and creates nobody twice. By default a fresh UUID.

        Returns:
            The sum over all requests, and the errors with their index in `records`.

        Raises:
            InvalidParameterError: A parameter was refused. Of `records`, those of earlier requests were sent: see
                `partial`.
            PermissionDeniedError: The key is publishable, or of another team.
            ConflictError: The key was used for other content within 24 hours.
            APIStatusError: The server answered a request with another error; `partial` has the result so far.
            APIConnectionError: A request got no answer; `partial` has the result so far, `idempotency_key` goes on.

        Example:
            ```python
            rows = [{"name": "Jane Doe", "email": "jane@example.com"}, {"name": "Ada", "email": "ada@example.com"}]
            result = await client.customers.bulk_import(team_id, rows, idempotency_key="crm-2026-11-26")
            print(result.created, result.skipped, result.errors)
            ```
        """
        return await self._run(bulk_import_job(team_id, merge_strategy, idempotency_key), records)

    async def export(
        self,
        team_id: Id,
        *,
        status: models.CustomerStatus | None = None,
        sentiment: models.CustomerSentiment | None = None,
        search: str | None = None,
        tag: str | None = None,
    ) -> models.CustomerExport:
        """Export up to 10,000 customers with one request (API page "Export"). Needs a secret key.

        An export of more customers is cut off, and a warning is logged; `list` reads any number.

        Args:
            team_id: The team's id, a UUID.
            status: Only customers of this status: `"active"` or `"inactive"`.
            sentiment: Only customers of this sentiment: `"happy"`, `"neutral"`, `"frustrated"` or `"angry"`.
            search: Only customers whose name or email contains this.
            tag: Only customers with exactly this tag.

        Returns:
            The customers.

        Raises:
            InvalidParameterError: A parameter was refused; nothing was sent.
            PermissionDeniedError: The key is publishable, or of another team.
            APIStatusError: The server answered with another error.
            APIConnectionError: No answer came.

        Example:
            ```python
            export = await client.customers.export(team_id, status="active")
            print(export.total_rows, export.customers[0].email)
            ```
        """
        return await self._send(export_call(team_id, status=status, sentiment=sentiment, search=search, tag=tag))

    @property
    def with_raw_response(self) -> AsyncCustomersWithRawResponse:
        """The same methods, each returning the `RawResponse` with status, headers and `parse()`."""
        return AsyncCustomersWithRawResponse(AsyncCustomers(self._transport, raw=True))


class AsyncCustomersWithRawResponse:
    """`client.customers.with_raw_response`: the methods of `AsyncCustomers`, each returning a `RawResponse`.

    Attributes:
        resource: The `AsyncCustomers` whose methods these are.
    """

    def __init__(self, customers: AsyncCustomers) -> None:
        self.resource = customers

    @async_raw_form(AsyncCustomers.list)
    def list(self) -> None:
        """`AsyncCustomers.list`, as a `RawResponse`."""

    @async_raw_form(AsyncCustomers.create)
    def create(self) -> None:
        """`AsyncCustomers.create`, as a `RawResponse`."""

    @async_raw_form(AsyncCustomers.get)
    def get(self) -> None:
        """`AsyncCustomers.get`, as a `RawResponse`."""

    @async_raw_form(AsyncCustomers.update)
    def update(self) -> None:
        """`AsyncCustomers.update`, as a `RawResponse`."""

    @async_raw_form(AsyncCustomers.delete)
    def delete(self) -> None:
        """`AsyncCustomers.delete`, as a `RawResponse`."""

    @async_raw_form(AsyncCustomers.export)
    def export(self) -> None:
        """`AsyncCustomers.export`, as a `RawResponse`."""
